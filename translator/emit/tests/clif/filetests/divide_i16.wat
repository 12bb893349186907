(module
  (type (;0;) (func (param i32 i32) (result i32 i32 i32 i32)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i32 i32) (result i32 i32 i32 i32)
    (local i32)
    local.get 0
    i32.const 65535
    i32.and
    local.get 1
    i32.const 65535
    i32.and
    i32.div_u
    local.get 0
    i32.extend16_s
    local.get 1
    i32.extend16_s
    i32.div_s
    local.tee 2
    i32.const 32768
    i32.eq
    if ;; label = @1
      unreachable
    end
    local.get 2
    local.get 0
    i32.const 65535
    i32.and
    local.get 1
    i32.const 65535
    i32.and
    i32.rem_u
    local.get 0
    i32.extend16_s
    local.get 1
    i32.extend16_s
    i32.rem_s
  )
)
