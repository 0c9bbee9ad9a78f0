"""The inner loop through other libraries; a file's name is that of `learner.engine`."""
