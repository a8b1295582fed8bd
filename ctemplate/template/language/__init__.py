"""What templates may say: functions, filters, how they compile and where they load from."""
