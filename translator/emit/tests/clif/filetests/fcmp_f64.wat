(module
  (type (;0;) (func (param f64 f64) (result i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param f64 f64) (result i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)
    local.get 0
    local.get 0
    f64.eq
    local.get 1
    local.get 1
    f64.eq
    i32.and
    local.get 0
    local.get 0
    f64.ne
    local.get 1
    local.get 1
    f64.ne
    i32.or
    local.get 0
    local.get 1
    f64.eq
    local.get 0
    local.get 1
    f64.ne
    local.get 0
    local.get 1
    f64.lt
    local.get 0
    local.get 1
    f64.gt
    i32.or
    local.get 0
    local.get 1
    f64.lt
    local.get 0
    local.get 1
    f64.gt
    i32.or
    i32.eqz
    local.get 0
    local.get 1
    f64.lt
    local.get 0
    local.get 1
    f64.le
    local.get 0
    local.get 1
    f64.gt
    local.get 0
    local.get 1
    f64.ge
    local.get 0
    local.get 1
    f64.ge
    i32.eqz
    local.get 0
    local.get 1
    f64.gt
    i32.eqz
    local.get 0
    local.get 1
    f64.le
    i32.eqz
    local.get 0
    local.get 1
    f64.lt
    i32.eqz
  )
)
