(module
  (type (;0;) (func (param i64 i32) (result i64 i64 i64 i64 i64)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i64 i32) (result i64 i64 i64 i64 i64)
    local.get 0
    i32.wrap_i64
    local.get 1
    i32.add
    i32.const -7
    i32.add
    i64.load align=1
    local.get 0
    local.get 1
    i64.extend_i32_u
    i64.add
    local.tee 0
    i32.wrap_i64
    i32.const -7
    i32.add
    i64.load align=1
    local.get 0
    i32.wrap_i64
    i64.load offset=6 align=1
    i32.const 0
    i64.load offset=520 align=1
    local.get 0
    i32.wrap_i64
    i32.const 0
    i32.add
    i32.const -7
    i32.add
    i64.load align=1
  )
)
