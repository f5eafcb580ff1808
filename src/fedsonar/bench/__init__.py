"""The performance suite: FedSonar beside the peers and beside the machine's peak, in one run, taking turns."""
