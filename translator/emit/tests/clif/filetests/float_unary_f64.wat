(module
  (type (;0;) (func (param f64) (result f64 f64 f64 f64 f64 f64 f64)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param f64) (result f64 f64 f64 f64 f64 f64 f64)
    local.get 0
    f64.sqrt
    local.get 0
    f64.neg
    local.get 0
    f64.abs
    local.get 0
    f64.ceil
    local.get 0
    f64.floor
    local.get 0
    f64.trunc
    local.get 0
    f64.nearest
  )
)
