(module
  (type (;0;) (func (param i64) (result i64 i64 i64 i64 i64 i64 i64 i64 i64)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i64) (result i64 i64 i64 i64 i64 i64 i64 i64 i64)
    (local i64)
    i64.const 0
    local.get 0
    i64.sub
    local.get 0
    i64.const -1
    i64.xor
    local.get 0
    i64.const 0
    local.get 0
    i64.sub
    local.get 0
    i64.const 0
    i64.ge_s
    select
    local.get 0
    i64.clz
    local.get 0
    i64.ctz
    local.get 0
    local.tee 1
    local.get 1
    i64.const 63
    i64.shr_s
    i64.xor
    i64.clz
    i64.const 1
    i64.sub
    local.get 0
    i64.popcnt
    local.get 0
    local.tee 1
    i64.const 1
    i64.shr_u
    i64.const 6148914691236517205
    i64.and
    local.get 1
    i64.const 6148914691236517205
    i64.and
    i64.const 1
    i64.shl
    i64.or
    local.tee 1
    i64.const 2
    i64.shr_u
    i64.const 3689348814741910323
    i64.and
    local.get 1
    i64.const 3689348814741910323
    i64.and
    i64.const 2
    i64.shl
    i64.or
    local.tee 1
    i64.const 4
    i64.shr_u
    i64.const 1085102592571150095
    i64.and
    local.get 1
    i64.const 1085102592571150095
    i64.and
    i64.const 4
    i64.shl
    i64.or
    local.tee 1
    i64.const 8
    i64.shr_u
    i64.const 71777214294589695
    i64.and
    local.get 1
    i64.const 71777214294589695
    i64.and
    i64.const 8
    i64.shl
    i64.or
    local.tee 1
    i64.const 16
    i64.shr_u
    i64.const 281470681808895
    i64.and
    local.get 1
    i64.const 281470681808895
    i64.and
    i64.const 16
    i64.shl
    i64.or
    i64.const 32
    i64.rotl
    local.get 0
    local.tee 0
    i64.const 8
    i64.shr_u
    i64.const 71777214294589695
    i64.and
    local.get 0
    i64.const 71777214294589695
    i64.and
    i64.const 8
    i64.shl
    i64.or
    local.tee 0
    i64.const 16
    i64.shr_u
    i64.const 281470681808895
    i64.and
    local.get 0
    i64.const 281470681808895
    i64.and
    i64.const 16
    i64.shl
    i64.or
    i64.const 32
    i64.rotl
  )
)
