(module
  (type (;0;) (func (param f64 f64) (result f64 f64 f64 f64 f64 f64 f64)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param f64 f64) (result f64 f64 f64 f64 f64 f64 f64)
    local.get 0
    local.get 1
    f64.add
    local.get 0
    local.get 1
    f64.sub
    local.get 0
    local.get 1
    f64.mul
    local.get 0
    local.get 1
    f64.div
    local.get 0
    local.get 1
    f64.min
    local.get 0
    local.get 1
    f64.max
    local.get 0
    local.get 1
    f64.copysign
  )
)
