"""Room 2: how a network is made (the extra [train])."""
