(module
  (type (;0;) (func (param i32 i32) (result i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i32 i32) (result i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)
    local.get 0
    local.get 1
    i32.xor
    i32.const 255
    i32.and
    i32.eqz
    local.get 0
    local.get 1
    i32.xor
    i32.const 255
    i32.and
    i32.eqz
    i32.eqz
    local.get 0
    i32.extend8_s
    local.get 1
    i32.extend8_s
    i32.lt_s
    local.get 0
    i32.extend8_s
    local.get 1
    i32.extend8_s
    i32.le_s
    local.get 0
    i32.extend8_s
    local.get 1
    i32.extend8_s
    i32.gt_s
    local.get 0
    i32.extend8_s
    local.get 1
    i32.extend8_s
    i32.ge_s
    local.get 0
    i32.const 255
    i32.and
    local.get 1
    i32.const 255
    i32.and
    i32.lt_u
    local.get 0
    i32.const 255
    i32.and
    local.get 1
    i32.const 255
    i32.and
    i32.le_u
    local.get 0
    i32.const 255
    i32.and
    local.get 1
    i32.const 255
    i32.and
    i32.gt_u
    local.get 0
    i32.const 255
    i32.and
    local.get 1
    i32.const 255
    i32.and
    i32.ge_u
    local.get 0
    i32.const 255
    i32.and
    i32.eqz
    local.get 0
    i32.const 255
    i32.and
    i32.const 0
    i32.ne
  )
)
