;; One step of Adam, as adamStepInPlace in step/optimizer.ts, on four elements at a time in float32.
;; adam-kernel.ts contains this module in binary form. adam-kernel.test.ts compares both.
(module
  (memory (import "env" "memory") 1 65536)
  (func (export "step")
    ;; Addresses of the vectors, and their length in bytes, a multiple of 16.
    (param $parameters i32) (param $m i32) (param $v i32) (param $ema i32) (param $gradient i32) (param $bytes i32)
    (param $gradientScale f32) (param $stepSize f32) (param $rootCorrection f32) (param $weightScale f32)
    (param $emaRate f32) (param $rate1 f32) (param $rate2 f32) (param $eps f32)
    (local $i i32) (local $g v128) (local $mean v128) (local $square v128) (local $updated v128) (local $average v128)
    (loop $next
      (local.set $g
        (f32x4.mul
          (v128.load (i32.add (local.get $gradient) (local.get $i)))
          (f32x4.splat (local.get $gradientScale))))

      ;; m ← m + (1 − β₁)(g − m)
      (local.set $mean (v128.load (i32.add (local.get $m) (local.get $i))))
      (local.set $mean
        (f32x4.add
          (local.get $mean)
          (f32x4.mul (f32x4.splat (local.get $rate1)) (f32x4.sub (local.get $g) (local.get $mean)))))
      (v128.store (i32.add (local.get $m) (local.get $i)) (local.get $mean))

      ;; v ← v + (1 − β₂)(g² − v)
      (local.set $square (v128.load (i32.add (local.get $v) (local.get $i))))
      (local.set $square
        (f32x4.add
          (local.get $square)
          (f32x4.mul
            (f32x4.splat (local.get $rate2))
            (f32x4.sub (f32x4.mul (local.get $g) (local.get $g)) (local.get $square)))))
      (v128.store (i32.add (local.get $v) (local.get $i)) (local.get $square))

      ;; θ ← weightScale · θ − stepSize · m / (rootCorrection · √v + ε)
      (local.set $updated
        (f32x4.sub
          (f32x4.mul
            (f32x4.splat (local.get $weightScale))
            (v128.load (i32.add (local.get $parameters) (local.get $i))))
          (f32x4.div
            (f32x4.mul (f32x4.splat (local.get $stepSize)) (local.get $mean))
            (f32x4.add
              (f32x4.mul (f32x4.splat (local.get $rootCorrection)) (f32x4.sqrt (local.get $square)))
              (f32x4.splat (local.get $eps))))))
      (v128.store (i32.add (local.get $parameters) (local.get $i)) (local.get $updated))

      ;; ema ← ema + emaRate · (θ − ema)
      (local.set $average (v128.load (i32.add (local.get $ema) (local.get $i))))
      (v128.store
        (i32.add (local.get $ema) (local.get $i))
        (f32x4.add
          (local.get $average)
          (f32x4.mul (f32x4.splat (local.get $emaRate)) (f32x4.sub (local.get $updated) (local.get $average)))))

      (local.set $i (i32.add (local.get $i) (i32.const 16)))
      (br_if $next (i32.lt_u (local.get $i) (local.get $bytes))))))
