(module
  (type (;0;) (func (param i32) (result i32)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i32) (result i32)
    (local i32 i32)
    i32.const 0
    i32.const 0
    local.set 2
    local.set 1
    loop ;; label = @1
      local.get 1
      local.get 0
      i32.lt_u
      if ;; label = @2
        local.get 1
        i32.const 1
        i32.add
        local.get 2
        local.get 1
        i32.add
        local.set 2
        local.set 1
        br 1 (;@1;)
      end
      local.get 2
      return
    end
    unreachable
  )
)
