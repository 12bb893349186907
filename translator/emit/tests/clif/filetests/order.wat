(module
  (type (;0;) (func (param i64 i64 i64) (result i64 i64 i64)))
  (type (;1;) (func (param i64 i64) (result i64)))
  (table (;0;) 2 2 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0 1)
  (func (;0;) (type 0) (param i64 i64 i64) (result i64 i64 i64)
    (local i64 i64)
    local.get 0
    i32.wrap_i64
    i64.load align=1
    local.set 3
    local.get 0
    i32.wrap_i64
    local.get 1
    i64.store align=1
    local.get 1
    local.get 2
    i64.div_u
    local.set 2
    local.get 0
    local.get 1
    call 1
    local.set 4
    local.get 3
    local.get 0
    i32.wrap_i64
    i64.load align=1
    i64.add
    local.get 1
    local.get 2
    local.get 4
    i64.add
  )
  (func (;1;) (type 1) (param i64 i64) (result i64)
    local.get 0
    i32.wrap_i64
    local.get 1
    local.get 1
    i64.add
    i64.store align=1
    local.get 0
    i32.wrap_i64
    i64.load offset=8 align=1
  )
)
