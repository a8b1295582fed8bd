"""What every layer may use: errors, frozen values, pure time policies, durations. Knows no layer above."""
