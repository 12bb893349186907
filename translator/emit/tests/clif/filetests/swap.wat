(module
  (type (;0;) (func (param i64 i64 i32) (result i64 i64)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i64 i64 i32) (result i64 i64)
    loop ;; label = @1
      local.get 2
      if ;; label = @2
        local.get 1
        local.get 0
        local.get 2
        i32.const -1
        i32.add
        local.set 2
        local.set 1
        local.set 0
        br 1 (;@1;)
      end
      local.get 0
      local.get 1
      return
    end
    unreachable
  )
)
