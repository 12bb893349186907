(module
  (type (;0;) (func (param i32 i32) (result i32)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i32 i32) (result i32)
    (local i32 i32 i32 i32 i32)
    local.get 0
    if ;; label = @1
      local.get 1
      i32.const 0
      i32.const 0
      local.set 2
      local.set 6
      local.set 5
    else
      local.get 1
      i32.const 0
      i32.const 1
      local.set 2
      local.set 4
      local.set 3
    end
    loop ;; label = @1
      block ;; label = @2
        block ;; label = @3
          block ;; label = @4
            local.get 2
            br_table 1 (;@3;) 0 (;@4;)
          end
          local.get 3
          i32.eqz
          local.get 4
          local.set 0
          br_if 1 (;@2;)
          local.get 3
          i32.const -1
          i32.add
          local.get 4
          local.get 3
          i32.add
          i32.const 0
          local.set 2
          local.set 6
          local.set 5
          br 2 (;@1;)
        end
        local.get 5
        i32.const -1
        i32.add
        local.set 1
        local.get 5
        local.get 1
        local.get 6
        local.get 1
        i32.add
        i32.const 1
        local.set 2
        local.set 4
        local.set 3
        br_if 1 (;@1;)
        local.get 6
        local.set 0
      end
      local.get 0
      return
    end
    unreachable
  )
)
