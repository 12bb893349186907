(module
  (type (;0;) (func (param i32 i32 i32 i64) (result i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i32 i32 i32 i64) (result i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)
    (local i32 i32)
    local.get 0
    local.get 1
    i32.const 15
    i32.and
    i32.shl
    local.get 0
    i32.const 65535
    i32.and
    local.get 1
    i32.const 15
    i32.and
    i32.shr_u
    local.get 0
    i32.extend16_s
    local.get 1
    i32.const 15
    i32.and
    i32.shr_s
    local.get 0
    i32.const 65535
    i32.and
    local.tee 4
    local.get 1
    i32.const 15
    i32.and
    local.tee 5
    i32.shl
    local.get 4
    i32.const 16
    local.get 5
    i32.sub
    i32.shr_u
    i32.or
    local.get 0
    i32.const 65535
    i32.and
    local.tee 4
    local.get 1
    i32.const 15
    i32.and
    local.tee 1
    i32.shr_u
    local.get 4
    i32.const 16
    local.get 1
    i32.sub
    i32.shl
    i32.or
    local.get 0
    local.get 2
    i32.const 15
    i32.and
    i32.shl
    local.get 0
    i32.const 65535
    i32.and
    local.get 2
    i32.const 15
    i32.and
    i32.shr_u
    local.get 0
    i32.extend16_s
    local.get 2
    i32.const 15
    i32.and
    i32.shr_s
    local.get 0
    i32.const 65535
    i32.and
    local.tee 1
    local.get 2
    i32.const 15
    i32.and
    local.tee 4
    i32.shl
    local.get 1
    i32.const 16
    local.get 4
    i32.sub
    i32.shr_u
    i32.or
    local.get 0
    i32.const 65535
    i32.and
    local.tee 1
    local.get 2
    i32.const 15
    i32.and
    local.tee 2
    i32.shr_u
    local.get 1
    i32.const 16
    local.get 2
    i32.sub
    i32.shl
    i32.or
    local.get 0
    local.get 3
    i32.wrap_i64
    i32.const 15
    i32.and
    i32.shl
    local.get 0
    i32.const 65535
    i32.and
    local.get 3
    i32.wrap_i64
    i32.const 15
    i32.and
    i32.shr_u
    local.get 0
    i32.extend16_s
    local.get 3
    i32.wrap_i64
    i32.const 15
    i32.and
    i32.shr_s
    local.get 0
    i32.const 65535
    i32.and
    local.tee 1
    local.get 3
    i32.wrap_i64
    i32.const 15
    i32.and
    local.tee 2
    i32.shl
    local.get 1
    i32.const 16
    local.get 2
    i32.sub
    i32.shr_u
    i32.or
    local.get 0
    i32.const 65535
    i32.and
    local.tee 0
    local.get 3
    i32.wrap_i64
    i32.const 15
    i32.and
    local.tee 1
    i32.shr_u
    local.get 0
    i32.const 16
    local.get 1
    i32.sub
    i32.shl
    i32.or
  )
)
