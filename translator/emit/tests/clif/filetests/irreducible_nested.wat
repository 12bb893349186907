(module
  (type (;0;) (func (param i32 i32) (result i32 i32)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i32 i32) (result i32 i32)
    (local i32 i32 i32 i32 i32 i32 i32 i32)
    block ;; label = @1
      block ;; label = @2
        block ;; label = @3
          block ;; label = @4
            block ;; label = @5
              local.get 0
              br_table 0 (;@5;) 1 (;@4;) 2 (;@3;) 3 (;@2;)
            end
            local.get 1
            i32.const 0
            i32.const 0
            local.set 2
            local.set 5
            local.set 8
            br 3 (;@1;)
          end
          local.get 1
          i32.const 1
          i32.const 1
          local.set 2
          local.set 9
          local.set 4
          br 2 (;@1;)
        end
        local.get 1
        i32.const 3
        local.set 2
        local.set 3
        br 1 (;@1;)
      end
      local.get 1
      i32.const 0
      i32.const 2
      local.set 2
      local.set 7
      local.set 6
    end
    loop ;; label = @1
      block ;; label = @2
        block ;; label = @3
          block ;; label = @4
            block ;; label = @5
              block ;; label = @6
                local.get 2
                br_table 3 (;@3;) 2 (;@4;) 1 (;@5;) 0 (;@6;)
              end
              local.get 3
              i32.const 1
              i32.sub
              local.set 1
              local.get 3
              i32.const 0
              i32.le_s
              local.get 3
              local.set 0
              br_if 3 (;@2;)
              local.get 1
              local.get 1
              i64.extend_i32_u
              i32.const -858993459
              i64.extend_i32_u
              i64.mul
              i64.const 32
              i64.shr_u
              i32.wrap_i64
              i32.const 2
              i32.shr_u
              i32.const 5
              i32.mul
              i32.sub
              local.tee 0
              if ;; label = @6
                local.get 1
                local.get 0
                i32.const 2
                local.set 2
                local.set 7
                local.set 6
                br 5 (;@1;)
              end
              local.get 1
              local.get 0
              i32.const 0
              local.set 2
              local.set 5
              local.set 8
              br 4 (;@1;)
            end
            local.get 6
            i32.const 1
            i32.sub
            local.tee 1
            i32.const 3
            i32.and
            if ;; label = @5
              local.get 1
              i32.const 3
              local.set 2
              local.set 3
              br 4 (;@1;)
            end
            local.get 1
            local.get 7
            i32.const 0
            local.set 2
            local.set 5
            local.set 8
            br 3 (;@1;)
          end
          local.get 4
          i32.const 1
          i32.and
          if ;; label = @4
            local.get 4
            local.get 9
            local.get 4
            i32.add
            i32.const 2
            local.set 2
            local.set 7
            local.set 6
            br 3 (;@1;)
          end
          local.get 4
          i32.const 3
          local.set 2
          local.set 3
          br 2 (;@1;)
        end
        local.get 8
        i32.const 1
        i32.sub
        local.tee 1
        i32.const 0
        i32.gt_s
        local.get 1
        local.get 5
        i32.const 1
        local.set 2
        local.set 9
        local.set 4
        br_if 1 (;@1;)
        local.get 5
        local.set 0
      end
      local.get 0
      local.get 1
      return
    end
    unreachable
  )
)
