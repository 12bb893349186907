(module
  (type (;0;) (func (param f32 f32) (result f32 f32 f32 f32 f32 f32 f32)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param f32 f32) (result f32 f32 f32 f32 f32 f32 f32)
    local.get 0
    local.get 1
    f32.add
    local.get 0
    local.get 1
    f32.sub
    local.get 0
    local.get 1
    f32.mul
    local.get 0
    local.get 1
    f32.div
    local.get 0
    local.get 1
    f32.min
    local.get 0
    local.get 1
    f32.max
    local.get 0
    local.get 1
    f32.copysign
  )
)
