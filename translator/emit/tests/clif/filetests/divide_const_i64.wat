(module
  (type (;0;) (func (param i64) (result i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i64) (result i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64)
    (local i64 i64 i64 i64)
    local.get 0
    i64.const 4294967295
    i64.and
    local.set 2
    local.get 0
    i64.const 32
    i64.shr_u
    local.tee 1
    i64.const 2863311531
    i64.mul
    local.get 2
    i64.const 2863311531
    i64.mul
    i64.const 32
    i64.shr_u
    i64.add
    local.set 3
    local.get 1
    i64.const 2863311530
    i64.mul
    local.get 3
    i64.const 32
    i64.shr_u
    i64.add
    local.get 2
    i64.const 2863311530
    i64.mul
    local.get 3
    i64.const 4294967295
    i64.and
    i64.add
    i64.const 32
    i64.shr_u
    i64.add
    i64.const 1
    i64.shr_u
    local.tee 2
    local.get 0
    i64.const 4294967295
    i64.and
    local.set 1
    local.get 0
    i64.const 32
    i64.shr_s
    local.tee 3
    i64.const 1431655766
    i64.mul
    local.get 1
    i64.const 1431655766
    i64.mul
    i64.const 32
    i64.shr_u
    i64.add
    local.set 4
    local.get 3
    i64.const 1431655765
    i64.mul
    local.get 4
    i64.const 32
    i64.shr_s
    i64.add
    local.get 1
    i64.const 1431655765
    i64.mul
    local.get 4
    i64.const 4294967295
    i64.and
    i64.add
    i64.const 32
    i64.shr_s
    i64.add
    local.tee 1
    local.get 1
    i64.const 63
    i64.shr_u
    i64.add
    local.tee 1
    local.get 0
    local.get 2
    i64.const 3
    i64.mul
    i64.sub
    local.get 0
    local.get 1
    i64.const 3
    i64.mul
    i64.sub
    local.get 0
    i64.const 4294967295
    i64.and
    local.set 2
    local.get 0
    i64.const 32
    i64.shr_u
    local.tee 1
    i64.const 2454267027
    i64.mul
    local.get 2
    i64.const 2454267027
    i64.mul
    i64.const 32
    i64.shr_u
    i64.add
    local.set 3
    local.get 1
    i64.const 613566756
    i64.mul
    local.get 3
    i64.const 32
    i64.shr_u
    i64.add
    local.get 2
    i64.const 613566756
    i64.mul
    local.get 3
    i64.const 4294967295
    i64.and
    i64.add
    i64.const 32
    i64.shr_u
    i64.add
    local.tee 2
    local.get 0
    local.get 2
    i64.sub
    i64.const 1
    i64.shr_u
    i64.add
    i64.const 2
    i64.shr_u
    local.tee 2
    local.get 0
    i64.const 4294967295
    i64.and
    local.set 1
    local.get 0
    i64.const 32
    i64.shr_s
    local.tee 3
    i64.const 613566757
    i64.mul
    local.get 1
    i64.const 613566757
    i64.mul
    i64.const 32
    i64.shr_u
    i64.add
    local.set 4
    local.get 3
    i64.const 1227133513
    i64.mul
    local.get 4
    i64.const 32
    i64.shr_s
    i64.add
    local.get 1
    i64.const 1227133513
    i64.mul
    local.get 4
    i64.const 4294967295
    i64.and
    i64.add
    i64.const 32
    i64.shr_s
    i64.add
    i64.const 1
    i64.shr_s
    local.tee 1
    local.get 1
    i64.const 63
    i64.shr_u
    i64.add
    local.tee 1
    local.get 0
    local.get 2
    i64.const 7
    i64.mul
    i64.sub
    local.get 0
    local.get 1
    i64.const 7
    i64.mul
    i64.sub
    local.get 0
    i64.const 3
    i64.shr_u
    local.get 0
    local.get 0
    i64.const 2
    i64.shr_s
    i64.const 61
    i64.shr_u
    i64.add
    local.tee 2
    i64.const 3
    i64.shr_s
    local.get 0
    i64.const 7
    i64.and
    local.get 0
    local.get 2
    i64.const -8
    i64.and
    i64.sub
    local.get 0
    i64.const 4294967295
    i64.and
    local.set 2
    local.get 0
    i64.const 32
    i64.shr_u
    local.tee 1
    i64.const 3779571221
    i64.mul
    local.get 2
    i64.const 3779571221
    i64.mul
    i64.const 32
    i64.shr_u
    i64.add
    local.set 3
    local.get 1
    i64.const 1202590842
    i64.mul
    local.get 3
    i64.const 32
    i64.shr_u
    i64.add
    local.get 2
    i64.const 1202590842
    i64.mul
    local.get 3
    i64.const 4294967295
    i64.and
    i64.add
    i64.const 32
    i64.shr_u
    i64.add
    local.tee 2
    local.get 0
    local.get 2
    i64.sub
    i64.const 1
    i64.shr_u
    i64.add
    i64.const 6
    i64.shr_u
    local.tee 2
    local.get 0
    i64.const 4294967295
    i64.and
    local.set 1
    local.get 0
    i64.const 32
    i64.shr_s
    local.tee 3
    i64.const 1889785611
    i64.mul
    local.get 1
    i64.const 1889785611
    i64.mul
    i64.const 32
    i64.shr_u
    i64.add
    local.set 4
    local.get 3
    i64.const -1546188227
    i64.mul
    local.get 4
    i64.const 32
    i64.shr_s
    i64.add
    local.get 1
    i64.const -1546188227
    i64.mul
    local.get 4
    i64.const 4294967295
    i64.and
    i64.add
    i64.const 32
    i64.shr_s
    i64.add
    local.get 0
    i64.add
    i64.const 6
    i64.shr_s
    local.tee 1
    local.get 1
    i64.const 63
    i64.shr_u
    i64.add
    local.tee 1
    local.get 0
    local.get 2
    i64.const 100
    i64.mul
    i64.sub
    local.get 0
    local.get 1
    i64.const 100
    i64.mul
    i64.sub
  )
)
