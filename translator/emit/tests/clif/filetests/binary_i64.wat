(module
  (type (;0;) (func (param i64 i64) (result i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i64 i64) (result i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64)
    (local i64 i64 i64 i64)
    local.get 0
    local.get 1
    i64.add
    local.get 0
    local.get 1
    i64.sub
    local.get 0
    local.get 1
    i64.mul
    local.get 0
    local.get 1
    i64.and
    local.get 0
    local.get 1
    i64.or
    local.get 0
    local.get 1
    i64.xor
    local.get 0
    local.get 1
    local.get 0
    local.get 1
    i64.lt_s
    select
    local.get 0
    local.get 1
    local.get 0
    local.get 1
    i64.gt_s
    select
    local.get 0
    local.get 1
    local.get 0
    local.get 1
    i64.lt_u
    select
    local.get 0
    local.get 1
    local.get 0
    local.get 1
    i64.gt_u
    select
    local.get 0
    i64.const 4294967295
    i64.and
    local.set 3
    local.get 0
    i64.const 32
    i64.shr_u
    local.set 2
    local.get 1
    i64.const 4294967295
    i64.and
    local.set 4
    local.get 1
    i64.const 32
    i64.shr_u
    local.set 5
    local.get 2
    local.get 4
    i64.mul
    local.get 3
    local.get 4
    i64.mul
    i64.const 32
    i64.shr_u
    i64.add
    local.set 4
    local.get 2
    local.get 5
    i64.mul
    local.get 4
    i64.const 32
    i64.shr_u
    i64.add
    local.get 3
    local.get 5
    i64.mul
    local.get 4
    i64.const 4294967295
    i64.and
    i64.add
    i64.const 32
    i64.shr_u
    i64.add
    local.get 0
    i64.const 4294967295
    i64.and
    local.set 3
    local.get 0
    i64.const 32
    i64.shr_s
    local.set 0
    local.get 1
    i64.const 4294967295
    i64.and
    local.set 2
    local.get 1
    i64.const 32
    i64.shr_s
    local.set 1
    local.get 0
    local.get 2
    i64.mul
    local.get 3
    local.get 2
    i64.mul
    i64.const 32
    i64.shr_u
    i64.add
    local.set 2
    local.get 0
    local.get 1
    i64.mul
    local.get 2
    i64.const 32
    i64.shr_s
    i64.add
    local.get 3
    local.get 1
    i64.mul
    local.get 2
    i64.const 4294967295
    i64.and
    i64.add
    i64.const 32
    i64.shr_s
    i64.add
  )
)
