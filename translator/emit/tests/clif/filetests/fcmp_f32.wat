(module
  (type (;0;) (func (param f32 f32) (result i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param f32 f32) (result i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)
    local.get 0
    local.get 0
    f32.eq
    local.get 1
    local.get 1
    f32.eq
    i32.and
    local.get 0
    local.get 0
    f32.ne
    local.get 1
    local.get 1
    f32.ne
    i32.or
    local.get 0
    local.get 1
    f32.eq
    local.get 0
    local.get 1
    f32.ne
    local.get 0
    local.get 1
    f32.lt
    local.get 0
    local.get 1
    f32.gt
    i32.or
    local.get 0
    local.get 1
    f32.lt
    local.get 0
    local.get 1
    f32.gt
    i32.or
    i32.eqz
    local.get 0
    local.get 1
    f32.lt
    local.get 0
    local.get 1
    f32.le
    local.get 0
    local.get 1
    f32.gt
    local.get 0
    local.get 1
    f32.ge
    local.get 0
    local.get 1
    f32.ge
    i32.eqz
    local.get 0
    local.get 1
    f32.gt
    i32.eqz
    local.get 0
    local.get 1
    f32.le
    i32.eqz
    local.get 0
    local.get 1
    f32.lt
    i32.eqz
  )
)
