"""The paper's tables on anybody's images, beside the paper's figures."""
