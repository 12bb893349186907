(module
  (type (;0;) (func (param i64 i64) (result i64)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i64 i64) (result i64)
    (local i64)
    local.get 0
    local.get 1
    i64.lt_u
    if ;; label = @1
      local.get 1
      local.get 0
      i64.sub
      local.set 2
    else
      local.get 0
      local.get 1
      i64.sub
      local.set 2
    end
    local.get 0
    local.get 1
    i64.eq
    if ;; label = @1
      local.get 0
      i64.const 100
      i64.mul
      local.set 2
    end
    local.get 2
  )
)
