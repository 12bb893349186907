(module
  (type (;0;) (func (param i64 i64) (result i64 i64 i64 i64)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i64 i64) (result i64 i64 i64 i64)
    local.get 0
    local.get 1
    i64.div_u
    local.get 0
    local.get 1
    i64.div_s
    local.get 0
    local.get 1
    i64.rem_u
    local.get 0
    local.get 1
    i64.rem_s
  )
)
