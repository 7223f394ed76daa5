"""What every runner must keep, as checks that anyone can run: `salver test-runner NAME`."""
