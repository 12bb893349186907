(module
  (type (;0;) (func (param i32) (result i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i32) (result i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)
    (local i32)
    local.get 0
    i32.const 255
    i32.and
    i32.const 3
    i32.div_u
    local.get 0
    i32.extend8_s
    i32.const 3
    i32.div_s
    local.get 0
    i32.const 255
    i32.and
    i32.const 3
    i32.rem_u
    local.get 0
    i32.extend8_s
    i32.const 3
    i32.rem_s
    local.get 0
    i32.const 255
    i32.and
    i32.const 7
    i32.div_u
    local.get 0
    i32.extend8_s
    i32.const 7
    i32.div_s
    local.get 0
    i32.const 255
    i32.and
    i32.const 7
    i32.rem_u
    local.get 0
    i32.extend8_s
    i32.const 7
    i32.rem_s
    local.get 0
    i32.const 255
    i32.and
    i32.const 3
    i32.shr_u
    local.get 0
    local.get 0
    i32.extend8_s
    i32.const 2
    i32.shr_s
    i32.const 255
    i32.and
    i32.const 5
    i32.shr_u
    i32.add
    local.tee 1
    i32.extend8_s
    i32.const 3
    i32.shr_s
    local.get 0
    i32.const 7
    i32.and
    local.get 0
    local.get 1
    i32.const -8
    i32.and
    i32.sub
    local.get 0
    i32.const 255
    i32.and
    i32.const 100
    i32.div_u
    local.get 0
    i32.extend8_s
    i32.const 100
    i32.div_s
    local.get 0
    i32.const 255
    i32.and
    i32.const 100
    i32.rem_u
    local.get 0
    i32.extend8_s
    i32.const 100
    i32.rem_s
  )
)
