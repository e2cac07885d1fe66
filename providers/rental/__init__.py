"""What is the same for every cloud: what is asked, what may be answered, money, labels, waits."""
