(module
  (type (;0;) (func (param f32) (result f32 f32 f32 f32 f32 f32 f32)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param f32) (result f32 f32 f32 f32 f32 f32 f32)
    local.get 0
    f32.sqrt
    local.get 0
    f32.neg
    local.get 0
    f32.abs
    local.get 0
    f32.ceil
    local.get 0
    f32.floor
    local.get 0
    f32.trunc
    local.get 0
    f32.nearest
  )
)
