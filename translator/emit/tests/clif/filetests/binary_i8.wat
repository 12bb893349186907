(module
  (type (;0;) (func (param i32 i32) (result i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i32 i32) (result i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)
    (local i32 i32)
    local.get 0
    local.get 1
    i32.add
    local.get 0
    local.get 1
    i32.sub
    local.get 0
    local.get 1
    i32.mul
    local.get 0
    local.get 1
    i32.and
    local.get 0
    local.get 1
    i32.or
    local.get 0
    local.get 1
    i32.xor
    local.get 0
    i32.extend8_s
    local.tee 2
    local.get 1
    i32.extend8_s
    local.tee 3
    local.get 2
    local.get 3
    i32.lt_s
    select
    local.get 0
    i32.extend8_s
    local.tee 2
    local.get 1
    i32.extend8_s
    local.tee 3
    local.get 2
    local.get 3
    i32.gt_s
    select
    local.get 0
    i32.const 255
    i32.and
    local.tee 2
    local.get 1
    i32.const 255
    i32.and
    local.tee 3
    local.get 2
    local.get 3
    i32.lt_u
    select
    local.get 0
    i32.const 255
    i32.and
    local.tee 0
    local.get 1
    i32.const 255
    i32.and
    local.tee 1
    local.get 0
    local.get 1
    i32.gt_u
    select
  )
)
