"""What a run leaves behind: tokens, layout, arrays, sessions. No torch, no Qt."""
