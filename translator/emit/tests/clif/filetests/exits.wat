(module
  (type (;0;) (func (param i64 i64) (result i64)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i64 i64) (result i64)
    (local i64)
    block ;; label = @1
      local.get 0
      i64.const 1
      i64.eq
      i64.const 1004
      local.set 2
      br_if 0 (;@1;)
      local.get 0
      i64.const 2
      i64.eq
      i64.const 1008
      local.set 2
      br_if 0 (;@1;)
      local.get 0
      i64.const 3
      i64.eq
      i64.const 1012
      local.set 2
      br_if 0 (;@1;)
      local.get 0
      local.get 1
      i64.mul
      local.set 2
    end
    local.get 2
  )
)
