(module
  (type (;0;) (func (param i32) (result i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i32) (result i32 i32 i32 i32 i32 i32 i32 i32 i32)
    (local i32)
    i32.const 0
    local.get 0
    i32.sub
    local.get 0
    i32.const -1
    i32.xor
    local.get 0
    i32.extend16_s
    local.tee 1
    i32.const 0
    local.get 1
    i32.sub
    local.get 1
    i32.const 0
    i32.ge_s
    select
    local.get 0
    i32.const 65535
    i32.and
    i32.clz
    i32.const 16
    i32.sub
    local.get 0
    i32.const 65536
    i32.or
    i32.ctz
    local.get 0
    i32.extend16_s
    local.tee 1
    local.get 1
    i32.const 31
    i32.shr_s
    i32.xor
    i32.clz
    i32.const 17
    i32.sub
    local.get 0
    i32.const 65535
    i32.and
    i32.popcnt
    local.get 0
    local.tee 1
    i32.const 1
    i32.shr_u
    i32.const 21845
    i32.and
    local.get 1
    i32.const 21845
    i32.and
    i32.const 1
    i32.shl
    i32.or
    local.tee 1
    i32.const 2
    i32.shr_u
    i32.const 13107
    i32.and
    local.get 1
    i32.const 13107
    i32.and
    i32.const 2
    i32.shl
    i32.or
    local.tee 1
    i32.const 4
    i32.shr_u
    i32.const 3855
    i32.and
    local.get 1
    i32.const 3855
    i32.and
    i32.const 4
    i32.shl
    i32.or
    local.tee 1
    i32.const 8
    i32.shr_u
    i32.const 255
    i32.and
    local.get 1
    i32.const 255
    i32.and
    i32.const 8
    i32.shl
    i32.or
    local.get 0
    local.tee 0
    i32.const 8
    i32.shr_u
    i32.const 255
    i32.and
    local.get 0
    i32.const 255
    i32.and
    i32.const 8
    i32.shl
    i32.or
  )
)
