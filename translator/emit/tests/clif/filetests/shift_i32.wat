(module
  (type (;0;) (func (param i32 i32 i32 i64) (result i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i32 i32 i32 i64) (result i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)
    local.get 0
    local.get 1
    i32.shl
    local.get 0
    local.get 1
    i32.shr_u
    local.get 0
    local.get 1
    i32.shr_s
    local.get 0
    local.get 1
    i32.rotl
    local.get 0
    local.get 1
    i32.rotr
    local.get 0
    local.get 2
    i32.shl
    local.get 0
    local.get 2
    i32.shr_u
    local.get 0
    local.get 2
    i32.shr_s
    local.get 0
    local.get 2
    i32.rotl
    local.get 0
    local.get 2
    i32.rotr
    local.get 0
    local.get 3
    i32.wrap_i64
    i32.shl
    local.get 0
    local.get 3
    i32.wrap_i64
    i32.shr_u
    local.get 0
    local.get 3
    i32.wrap_i64
    i32.shr_s
    local.get 0
    local.get 3
    i32.wrap_i64
    i32.rotl
    local.get 0
    local.get 3
    i32.wrap_i64
    i32.rotr
  )
)
