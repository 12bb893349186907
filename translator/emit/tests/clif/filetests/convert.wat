(module
  (type (;0;) (func (param i32 i32 i32 i64) (result i32 i32 i32 i32 i64 i64 i32 i64 i64 i32 i32 i64 i64 i32 i64 i64 i32 i64 i64 i64 i64 i32 i64 i64 i32 i64 i64 i32 i64 i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i64 i64 i64)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i32 i32 i32 i64) (result i32 i32 i32 i32 i64 i64 i32 i64 i64 i32 i32 i64 i64 i32 i64 i64 i32 i64 i64 i64 i64 i32 i64 i64 i32 i64 i64 i32 i64 i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i64 i64 i64)
    (local i32)
    local.get 0
    i32.const 255
    i32.and
    local.get 0
    i32.extend8_s
    local.get 0
    i32.const 255
    i32.and
    local.get 0
    i32.extend8_s
    local.get 0
    i32.const 255
    i32.and
    i64.extend_i32_u
    local.get 0
    i64.extend_i32_u
    i64.extend8_s
    local.get 1
    local.tee 4
    local.get 4
    i64.extend_i32_u
    i64.extend8_s
    local.get 4
    i32.const 255
    i32.and
    i64.extend_i32_u
    local.get 1
    i32.const 65535
    i32.and
    local.get 1
    i32.extend16_s
    local.get 1
    i32.const 65535
    i32.and
    i64.extend_i32_u
    local.get 1
    i64.extend_i32_u
    i64.extend16_s
    local.get 2
    local.tee 4
    local.get 4
    i64.extend_i32_u
    i64.extend8_s
    local.get 4
    i32.const 255
    i32.and
    i64.extend_i32_u
    local.get 2
    local.tee 4
    local.get 4
    i64.extend_i32_u
    i64.extend16_s
    local.get 4
    i32.const 65535
    i32.and
    i64.extend_i32_u
    local.get 2
    i64.extend_i32_u
    local.get 2
    i64.extend_i32_s
    local.get 3
    i32.wrap_i64
    local.tee 4
    local.get 4
    i64.extend_i32_u
    i64.extend8_s
    local.get 4
    i32.const 255
    i32.and
    i64.extend_i32_u
    local.get 3
    i32.wrap_i64
    local.tee 4
    local.get 4
    i64.extend_i32_u
    i64.extend16_s
    local.get 4
    i32.const 65535
    i32.and
    i64.extend_i32_u
    local.get 3
    i32.wrap_i64
    local.tee 4
    local.get 4
    i64.extend_i32_s
    local.get 4
    i64.extend_i32_u
    i32.const 0
    local.get 0
    i32.const 255
    i32.and
    i32.const 0
    i32.ne
    i32.sub
    i32.const 0
    local.get 1
    i32.const 65535
    i32.and
    i32.const 0
    i32.ne
    i32.sub
    i32.const 0
    local.get 2
    i32.const 0
    i32.ne
    i32.sub
    i32.const 0
    local.get 3
    i64.const 0
    i64.ne
    i32.sub
    i32.const 0
    local.get 0
    i32.const 255
    i32.and
    i32.const 0
    i32.ne
    i32.sub
    i32.const 0
    local.get 1
    i32.const 65535
    i32.and
    i32.const 0
    i32.ne
    i32.sub
    i32.const 0
    local.get 2
    i32.const 0
    i32.ne
    i32.sub
    i32.const 0
    local.get 3
    i64.const 0
    i64.ne
    i32.sub
    i32.const 0
    local.get 0
    i32.const 255
    i32.and
    i32.const 0
    i32.ne
    i32.sub
    i32.const 0
    local.get 1
    i32.const 65535
    i32.and
    i32.const 0
    i32.ne
    i32.sub
    i32.const 0
    local.get 2
    i32.const 0
    i32.ne
    i32.sub
    i32.const 0
    local.get 3
    i64.const 0
    i64.ne
    i32.sub
    i64.const 0
    local.get 0
    i32.const 255
    i32.and
    i32.const 0
    i32.ne
    i64.extend_i32_u
    i64.sub
    i64.const 0
    local.get 1
    i32.const 65535
    i32.and
    i32.const 0
    i32.ne
    i64.extend_i32_u
    i64.sub
    i64.const 0
    local.get 2
    i32.const 0
    i32.ne
    i64.extend_i32_u
    i64.sub
    i64.const 0
    local.get 3
    i64.const 0
    i64.ne
    i64.extend_i32_u
    i64.sub
  )
)
