(module
  (type (;0;) (func (param i32 i64) (result i64)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i32 i64) (result i64)
    block ;; label = @1
      block ;; label = @2
        block ;; label = @3
          block ;; label = @4
            block ;; label = @5
              local.get 0
              br_table 3 (;@2;) 2 (;@3;) 3 (;@2;) 0 (;@5;) 1 (;@4;) 4 (;@1;)
            end
            i64.const 1
            local.set 1
            br 3 (;@1;)
          end
          i64.const 2
          local.set 1
          br 2 (;@1;)
        end
        local.get 1
        return
      end
      local.get 1
      local.get 1
      i64.add
      local.set 1
    end
    local.get 1
    i64.const 2
    i64.shl
  )
)
