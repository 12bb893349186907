(module
  (type (;0;) (func (param i64 i32) (result i32)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i64 i32) (result i32)
    local.get 0
    i64.const 0
    i64.ne
    if ;; label = @1
      unreachable
    end
    local.get 1
    i32.eqz
    if ;; label = @1
      unreachable
    end
    local.get 1
    i32.const 77
    i32.eq
    if ;; label = @1
      unreachable
    end
    local.get 1
  )
)
