import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.PublicKey;
import java.security.Signature;
import java.security.spec.X509EncodedKeySpec;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;

/**
 * Asks Java's libraries about the signatures in a file, and prints one line of JSON per library.
 *
 * <p>{@code java [-cp bcprov.jar] Verify.java FILE}, where each line of the file is an ID, a public key, a signature and
 * a message, in hexadecimal, separated by spaces: Java has no parser of JSON.
 */
public final class Verify {
    private interface Library {
        boolean verify(byte[] key, byte[] message, byte[] signature) throws Exception;
    }

    private static void ask(String id, String version, List<String> lines, Library library) {
        var accepted = new ArrayList<String>();
        for (var line : lines) {
            var field = line.split(" ");
            var hex = HexFormat.of();
            boolean good;
            try {
                good = library.verify(hex.parseHex(field[1]), hex.parseHex(field[3]), hex.parseHex(field[2]));
            } catch (Exception refused) {
                good = false;
            }
            if (good) {
                accepted.add('"' + field[0] + '"');
            }
        }
        System.out.printf("{\"id\":\"%s\",\"version\":\"%s\",\"accepts\":{\"ed25519\":[%s]}}%n", id, version, String.join(",", accepted));
    }

    private static boolean jdk(byte[] key, byte[] message, byte[] signature) throws Exception {
        var header = HexFormat.of().parseHex("302a300506032b6570032100"); // SubjectPublicKeyInfo of Ed25519
        var encoded = new byte[header.length + key.length];
        System.arraycopy(header, 0, encoded, 0, header.length);
        System.arraycopy(key, 0, encoded, header.length, key.length);
        PublicKey parsed = KeyFactory.getInstance("Ed25519").generatePublic(new X509EncodedKeySpec(encoded));
        var verifier = Signature.getInstance("Ed25519");
        verifier.initVerify(parsed);
        verifier.update(message);
        return verifier.verify(signature);
    }

    public static void main(String[] arguments) throws Exception {
        var lines = Files.readAllLines(Path.of(arguments[0]), StandardCharsets.US_ASCII);
        ask("jdk", "OpenJDK " + System.getProperty("java.version"), lines, Verify::jdk);
        try {
            var curve = Class.forName("org.bouncycastle.math.ec.rfc8032.Ed25519");
            var verify = curve.getMethod("verify", byte[].class, int.class, byte[].class, int.class, byte[].class, int.class, int.class);
            var info = Class.forName("org.bouncycastle.jce.provider.BouncyCastleProvider").getDeclaredConstructor().newInstance();
            var version = ((java.security.Provider) info).getVersionStr();
            ask("bouncy-castle-" + version, "Bouncy Castle " + version, lines,
                    (key, message, signature) -> (boolean) verify.invoke(null, signature, 0, key, 0, message, 0, message.length));
        } catch (ClassNotFoundException absent) {
            System.out.println("{\"id\":\"bouncy-castle\",\"missing\":\"no bcprov jar on the class path\"}");
        }
    }
}
