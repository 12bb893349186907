(module
  (type (;0;) (func (param i64 i64 i64 i64) (result i32 i32 i32 i32)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i64 i64 i64 i64) (result i32 i32 i32 i32)
    local.get 1
    local.get 3
    i64.lt_u
    local.get 1
    local.get 3
    i64.eq
    local.get 0
    local.get 2
    i64.lt_u
    i32.and
    i32.or
    local.get 1
    local.get 3
    i64.gt_s
    local.get 1
    local.get 3
    i64.eq
    local.get 0
    local.get 2
    i64.ge_u
    i32.and
    i32.or
    local.get 1
    local.get 3
    i64.eq
    local.get 0
    local.get 2
    i64.eq
    i32.and
    i64.const 0
    local.get 3
    i64.ne
    local.get 0
    local.get 2
    i64.ne
    i32.or
  )
)
