(module
  (type (;0;) (func (param i64 i64) (result i64 i32 i64 i64 i64 i32 i64 i32 i32 f32 f64 i64 i64)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i64 i64) (result i64 i32 i64 i64 i64 i32 i64 i32 i32 f32 f64 i64 i64)
    (local i32)
    local.get 0
    i32.wrap_i64
    local.get 1
    i64.store8
    local.get 0
    i32.wrap_i64
    local.get 1
    i64.store16 offset=8 align=1
    local.get 0
    i32.wrap_i64
    local.get 1
    i64.store32 offset=16 align=1
    local.get 0
    i32.wrap_i64
    local.get 1
    i64.store offset=24 align=1
    local.get 0
    i32.wrap_i64
    local.get 1
    i32.wrap_i64
    local.tee 2
    i32.store offset=32 align=1
    local.get 0
    i32.wrap_i64
    local.get 1
    i64.store16 offset=40 align=1
    local.get 0
    i32.wrap_i64
    local.get 1
    i64.store8 offset=48
    local.get 0
    i32.wrap_i64
    local.get 2
    i32.store8 offset=56
    local.get 0
    i32.wrap_i64
    i64.load8_u
    local.get 0
    i32.wrap_i64
    i32.load8_s
    local.get 0
    i32.wrap_i64
    i64.load16_s offset=8 align=1
    local.get 0
    i32.wrap_i64
    i64.load32_u offset=16 align=1
    local.get 0
    i32.wrap_i64
    i64.load32_s offset=16 align=1
    local.get 0
    i32.wrap_i64
    i32.load offset=20 align=1
    local.get 0
    i32.wrap_i64
    i64.load offset=24 align=1
    local.get 0
    i32.wrap_i64
    i32.load8_u offset=48
    local.get 0
    i32.wrap_i64
    i32.load16_u offset=40 align=1
    local.get 0
    i32.wrap_i64
    f32.load offset=64 align=1
    local.get 0
    i32.wrap_i64
    f64.load offset=72 align=1
    local.get 0
    i32.wrap_i64
    i64.load8_s offset=3
    local.get 0
    i32.wrap_i64
    i64.load16_u offset=5 align=1
  )
)
