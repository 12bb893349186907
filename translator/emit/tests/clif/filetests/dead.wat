(module
  (type (;0;) (func (param i64 i32) (result i32)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i64 i32) (result i32)
    loop ;; label = @1
      local.get 1
      i32.const 1
      i32.sub
      local.tee 1
      br_if 0 (;@1;)
      local.get 1
      return
    end
    unreachable
  )
)
