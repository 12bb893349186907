(module
  (type (;0;) (func (param i32) (result i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i32) (result i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)
    (local i32 i32)
    local.get 0
    i64.extend_i32_u
    i32.const -1431655765
    i64.extend_i32_u
    i64.mul
    i64.const 32
    i64.shr_u
    i32.wrap_i64
    i32.const 1
    i32.shr_u
    local.tee 2
    local.get 0
    i64.extend_i32_s
    i32.const 1431655766
    i64.extend_i32_s
    i64.mul
    i64.const 32
    i64.shr_u
    i32.wrap_i64
    local.tee 1
    local.get 1
    i32.const 31
    i32.shr_u
    i32.add
    local.tee 1
    local.get 0
    local.get 2
    i32.const 3
    i32.mul
    i32.sub
    local.get 0
    local.get 1
    i32.const 3
    i32.mul
    i32.sub
    local.get 0
    i64.extend_i32_u
    i32.const 613566757
    i64.extend_i32_u
    i64.mul
    i64.const 32
    i64.shr_u
    i32.wrap_i64
    local.tee 2
    local.get 0
    local.get 2
    i32.sub
    i32.const 1
    i32.shr_u
    i32.add
    i32.const 2
    i32.shr_u
    local.tee 2
    local.get 0
    i64.extend_i32_s
    i32.const -1840700269
    i64.extend_i32_s
    i64.mul
    i64.const 32
    i64.shr_u
    i32.wrap_i64
    local.get 0
    i32.add
    i32.const 2
    i32.shr_s
    local.tee 1
    local.get 1
    i32.const 31
    i32.shr_u
    i32.add
    local.tee 1
    local.get 0
    local.get 2
    i32.const 7
    i32.mul
    i32.sub
    local.get 0
    local.get 1
    i32.const 7
    i32.mul
    i32.sub
    local.get 0
    i32.const 3
    i32.shr_u
    local.get 0
    local.get 0
    i32.const 2
    i32.shr_s
    i32.const 29
    i32.shr_u
    i32.add
    local.tee 2
    i32.const 3
    i32.shr_s
    local.get 0
    i32.const 7
    i32.and
    local.get 0
    local.get 2
    i32.const -8
    i32.and
    i32.sub
    local.get 0
    i64.extend_i32_u
    i32.const 1374389535
    i64.extend_i32_u
    i64.mul
    i64.const 32
    i64.shr_u
    i32.wrap_i64
    i32.const 5
    i32.shr_u
    local.tee 2
    local.get 0
    i64.extend_i32_s
    i32.const 1374389535
    i64.extend_i32_s
    i64.mul
    i64.const 32
    i64.shr_u
    i32.wrap_i64
    i32.const 5
    i32.shr_s
    local.tee 1
    local.get 1
    i32.const 31
    i32.shr_u
    i32.add
    local.tee 1
    local.get 0
    local.get 2
    i32.const 100
    i32.mul
    i32.sub
    local.get 0
    local.get 1
    i32.const 100
    i32.mul
    i32.sub
  )
)
