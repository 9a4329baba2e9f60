"""The one applier of fixes: it makes the change that a fix describes, and can undo it."""
