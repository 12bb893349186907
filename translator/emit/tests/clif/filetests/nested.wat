(module
  (type (;0;) (func (param i32 i32) (result i32)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1 1)
  (export "f" (func 0))
  (export "memory" (memory 0))
  (elem (;0;) (i32.const 0) func 0)
  (func (;0;) (type 0) (param i32 i32) (result i32)
    (local i32 i32 i32)
    i32.const 0
    i32.const 0
    local.set 2
    local.set 3
    loop ;; label = @1
      block ;; label = @2
        local.get 3
        local.get 0
        i32.ge_u
        br_if 0 (;@2;)
        i32.const 0
        local.set 4
        loop ;; label = @3
          local.get 4
          local.get 1
          i32.lt_u
          if ;; label = @4
            local.get 2
            local.get 3
            local.get 4
            i32.mul
            i32.add
            local.tee 2
            i32.const 50
            i32.le_u
            local.get 4
            i32.const 1
            i32.add
            local.set 4
            br_if 1 (;@3;)
          else
            local.get 3
            i32.const 1
            i32.add
            local.set 3
            br 3 (;@1;)
          end
        end
      end
      local.get 2
      return
    end
    unreachable
  )
)
