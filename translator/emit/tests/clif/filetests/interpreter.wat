(module
  (type (;0;) (func (param i64 i64) (result i64 i64)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i64 i64) (result i64 i64)
    (local i64 i64)
    i64.const 0
    local.set 2
    loop ;; label = @1
      block ;; label = @2
        block ;; label = @3
          block ;; label = @4
            block ;; label = @5
              block ;; label = @6
                local.get 0
                local.get 1
                i64.add
                i32.wrap_i64
                i32.load8_u
                i32.const 3
                i32.and
                br_table 3 (;@3;) 2 (;@4;) 1 (;@5;) 0 (;@6;) 4 (;@2;)
              end
              local.get 1
              i64.const 1
              i64.add
              local.tee 3
              i64.const 128
              i64.ge_u
              br_if 3 (;@2;)
              local.get 3
              local.set 1
              br 4 (;@1;)
            end
            local.get 1
            i64.const 1
            i64.add
            local.get 2
            i64.const 1
            i64.sub
            local.set 2
            local.set 1
            br 3 (;@1;)
          end
          local.get 1
          i64.const 1
          i64.add
          local.get 2
          local.get 2
          i64.add
          local.set 2
          local.set 1
          br 2 (;@1;)
        end
        local.get 1
        i64.const 1
        i64.add
        local.get 2
        i64.const 1
        i64.add
        local.set 2
        local.set 1
        br 1 (;@1;)
      end
      local.get 1
      local.get 2
      return
    end
    unreachable
  )
)
