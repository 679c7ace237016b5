"""What only an engine of TGI needs: adapters given to it as copies of one form."""
