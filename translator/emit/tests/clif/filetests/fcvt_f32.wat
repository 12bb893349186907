(module
  (type (;0;) (func (param f32) (result i32 i32 i64 i64)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param f32) (result i32 i32 i64 i64)
    local.get 0
    i32.trunc_sat_f32_s
    local.get 0
    i32.trunc_sat_f32_u
    local.get 0
    i64.trunc_sat_f32_s
    local.get 0
    i64.trunc_sat_f32_u
  )
)
