(module
  (type (;0;) (func (param i64 i64) (result i64)))
  (type (;1;) (func (param i64) (result i64)))
  (table (;0;) 3 3 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0 1 2)
  (func (;0;) (type 0) (param i64 i64) (result i64)
    local.get 0
    local.get 1
    i32.wrap_i64
    call_indirect (type 1)
  )
  (func (;1;) (type 1) (param i64) (result i64)
    local.get 0
    i64.const 1
    i64.add
  )
  (func (;2;) (type 1) (param i64) (result i64)
    local.get 0
    local.get 0
    i64.add
  )
)
