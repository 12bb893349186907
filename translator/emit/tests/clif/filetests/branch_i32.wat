(module
  (type (;0;) (func (param i32) (result i32)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i32) (result i32)
    (local i32)
    block ;; label = @1
      local.get 0
      i32.const 1
      local.set 1
      br_if 0 (;@1;)
      i32.const 0
      local.set 1
    end
    local.get 0
    if ;; label = @1
      local.get 1
      i32.const 2
      i32.add
      local.set 1
    end
    local.get 0
    i32.const 0
    i32.lt_s
    if ;; label = @1
      local.get 1
      local.get 1
      i32.add
      return
    end
    local.get 1
  )
)
