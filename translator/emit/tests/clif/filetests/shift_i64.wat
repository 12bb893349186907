(module
  (type (;0;) (func (param i64 i32 i32 i64) (result i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i64 i32 i32 i64) (result i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64)
    local.get 0
    local.get 1
    i64.extend_i32_u
    i64.shl
    local.get 0
    local.get 1
    i64.extend_i32_u
    i64.shr_u
    local.get 0
    local.get 1
    i64.extend_i32_u
    i64.shr_s
    local.get 0
    local.get 1
    i64.extend_i32_u
    i64.rotl
    local.get 0
    local.get 1
    i64.extend_i32_u
    i64.rotr
    local.get 0
    local.get 2
    i64.extend_i32_u
    i64.shl
    local.get 0
    local.get 2
    i64.extend_i32_u
    i64.shr_u
    local.get 0
    local.get 2
    i64.extend_i32_u
    i64.shr_s
    local.get 0
    local.get 2
    i64.extend_i32_u
    i64.rotl
    local.get 0
    local.get 2
    i64.extend_i32_u
    i64.rotr
    local.get 0
    local.get 3
    i64.shl
    local.get 0
    local.get 3
    i64.shr_u
    local.get 0
    local.get 3
    i64.shr_s
    local.get 0
    local.get 3
    i64.rotl
    local.get 0
    local.get 3
    i64.rotr
  )
)
