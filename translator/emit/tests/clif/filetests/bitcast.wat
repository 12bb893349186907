(module
  (type (;0;) (func (param i32 i64) (result f32 f64 i32 i64 f64 f32 f64)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i32 i64) (result f32 f64 i32 i64 f64 f32 f64)
    (local f32 f64)
    local.get 0
    f32.reinterpret_i32
    local.tee 2
    local.get 1
    f64.reinterpret_i64
    local.tee 3
    local.get 2
    f32.neg
    i32.reinterpret_f32
    local.get 3
    f64.neg
    i64.reinterpret_f64
    local.get 2
    f64.promote_f32
    local.get 3
    f32.demote_f64
    local.get 3
    f64.const 0x1.8p+1 (;=3;)
    f64.add
  )
)
