(module
  (type (;0;) (func (param i32 i32 i32 i64) (result f64 f64 f64 f64 f64 f64 f64 f64)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i32 i32 i32 i64) (result f64 f64 f64 f64 f64 f64 f64 f64)
    local.get 0
    i32.extend8_s
    f64.convert_i32_s
    local.get 0
    i32.const 255
    i32.and
    f64.convert_i32_u
    local.get 1
    i32.extend16_s
    f64.convert_i32_s
    local.get 1
    i32.const 65535
    i32.and
    f64.convert_i32_u
    local.get 2
    f64.convert_i32_s
    local.get 2
    f64.convert_i32_u
    local.get 3
    f64.convert_i64_s
    local.get 3
    f64.convert_i64_u
  )
)
